"""Checkpoints that leave the appliance, so that nobody who can change everything here can change them too."""
