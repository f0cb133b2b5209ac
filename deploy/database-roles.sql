-- The database, its four roles and their rights. Run by a superuser, as often as you like:
--
--   DATABASE_OWNER_PASSWORD=... DATABASE_APP_PASSWORD=... DATABASE_WORKER_PASSWORD=... \
--   DATABASE_SEALER_PASSWORD=... psql -X -h HOST -U postgres -f deploy/database-roles.sql
--
-- The embedded PostgreSQL is set up by this same file at each start. Passwords come from the environment, so
-- that they show neither in the process list nor in the shell's history. DATABASE_NAME is optional.
--
--   reading_room_owner  owns the database and its tables; only `manage.py migrate` signs in with it
--   reading_room_app    what the pages run as: row-level security shows it what the person asking may see
--   reading_room_worker what workers and commands run as: reads every document to index it; becomes
--                       reading_room_app for what it does for a person
--
--   reading_room_sealer what the sealer runs as: sees the fingerprints of audit events, and adds what seals them;
--                       of everything else it sees nothing
--
-- The last three can neither create, alter nor drop.
--
-- Needs PostgreSQL 16 or later, psql 14 or later, and the pgvector extension (0.8 or later) installed on the server.

\set ON_ERROR_STOP on
\set QUIET on
\set database reading_room
\getenv database DATABASE_NAME
\getenv owner_password DATABASE_OWNER_PASSWORD
\getenv app_password DATABASE_APP_PASSWORD
\getenv worker_password DATABASE_WORKER_PASSWORD
\getenv sealer_password DATABASE_SEALER_PASSWORD
\if :{?owner_password}
\else
  DO $$ BEGIN RAISE EXCEPTION 'Set DATABASE_OWNER_PASSWORD in the environment.'; END $$;
\endif
\if :{?app_password}
\else
  DO $$ BEGIN RAISE EXCEPTION 'Set DATABASE_APP_PASSWORD in the environment.'; END $$;
\endif
\if :{?worker_password}
\else
  DO $$ BEGIN RAISE EXCEPTION 'Set DATABASE_WORKER_PASSWORD in the environment.'; END $$;
\endif
\if :{?sealer_password}
\else
  DO $$ BEGIN RAISE EXCEPTION 'Set DATABASE_SEALER_PASSWORD in the environment.'; END $$;
\endif

SET client_min_messages = warning;
SET password_encryption = 'scram-sha-256';

SELECT format('CREATE ROLE %I', role)
  FROM unnest(ARRAY['reading_room_owner', 'reading_room_app', 'reading_room_worker', 'reading_room_sealer']) AS role
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role)
\gexec
ALTER ROLE reading_room_owner WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
  PASSWORD :'owner_password';
ALTER ROLE reading_room_app WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
  PASSWORD :'app_password';
ALTER ROLE reading_room_worker WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
  PASSWORD :'worker_password';
ALTER ROLE reading_room_sealer WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
  PASSWORD :'sealer_password';
GRANT reading_room_app TO reading_room_worker WITH INHERIT FALSE, SET TRUE;

SELECT format('CREATE DATABASE %I OWNER reading_room_owner ENCODING ''UTF8'' TEMPLATE template0', :'database')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database')
\gexec
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
REVOKE ALL ON DATABASE :"database" FROM reading_room_app, reading_room_worker, reading_room_sealer;
GRANT CONNECT ON DATABASE :"database" TO reading_room_app, reading_room_worker, reading_room_sealer;

\connect :"database"
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vector;

ALTER SCHEMA public OWNER TO reading_room_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO reading_room_app, reading_room_worker, reading_room_sealer;

-- What the owner creates from now on. Migrations take UPDATE and DELETE on the audit tables away again.
ALTER DEFAULT PRIVILEGES FOR ROLE reading_room_owner IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO reading_room_app, reading_room_worker;
ALTER DEFAULT PRIVILEGES FOR ROLE reading_room_owner IN SCHEMA public
  GRANT USAGE, SELECT ON SEQUENCES TO reading_room_app, reading_room_worker;
ALTER DEFAULT PRIVILEGES FOR ROLE reading_room_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE reading_room_owner IN SCHEMA public
  GRANT EXECUTE ON FUNCTIONS TO reading_room_app, reading_room_worker;
