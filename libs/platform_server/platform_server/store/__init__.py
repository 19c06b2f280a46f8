"""Postgres: the only place that speaks SQL. One .sql file of named statements per table, one Python twin beside it."""
