"""A database backend for Django: PostgreSQL, with every statement under the principal it runs for."""
