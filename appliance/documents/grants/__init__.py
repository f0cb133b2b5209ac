"""Who may see what, as people change it: grants, walls, broken glass, and why someone sees something."""
