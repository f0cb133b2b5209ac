"""Reports for people outside the appliance: who was shown what, all that concerns one person, who could and who did.

asking      what is asked for, as forms and commands give it
events      the events that belong to it
disclosures, subjects, access_review    the three reports: columns and rows
tables, fhir, pdf    how a report is written
making      a file with its evidence, recorded before it leaves
"""
