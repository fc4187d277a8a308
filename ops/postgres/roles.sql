-- Creates the roles of user-svc in the database of this connection, and hands existing tables to their owner. It may run again.
--
-- auth_owner changes the schema (userSvc.postgres.migrationUrl); auth_service reads and writes the rows (userSvc.postgres.url).
-- Run it as the superuser, or as the owner of the database with CREATEROLE. The passwords come from the settings
-- auth.owner_password and auth.service_password:
--
--   PGOPTIONS='-c auth.owner_password=... -c auth.service_password=...' psql -f roles.sql auth
--
-- With the setting auth.own_server=on, for a server that has no other database, the two roles may connect to this database only:
-- the databases `postgres` and `template1` then admit no role but superusers and those that a later grant names.
do $$
declare
  object record;
  role_name text;
  right_name text;
begin
  foreach role_name in array array['auth_owner', 'auth_service'] loop
    if not exists (select from pg_roles where rolname = role_name) then
      execute format('create role %I login', role_name);
    end if;
    begin
      execute format('alter role %I password %L', role_name, current_setting(replace(role_name, '_', '.') || '_password'));
    exception when others then
      -- Without the context of the error, which contains the statement with the password.
      raise exception using errcode = sqlstate, message = format('cannot set the password of %I: %s', role_name, sqlerrm);
    end;
  end loop;

  -- To hand objects over, this role must be able to act as their new owner; a superuser can act as every role. From PostgreSQL 16
  -- on, the creator of a role is a member that cannot act as it.
  right_name := case when current_setting('server_version_num')::int < 160000 then 'member' else 'set' end;
  if not pg_has_role('auth_owner', right_name) then
    execute format('grant auth_owner to %I', current_user);
  end if;

  execute format('revoke all on database %I from public', current_database());
  execute format('grant connect, create on database %I to auth_owner', current_database());
  execute format('grant connect on database %I to auth_service', current_database());
  grant usage, create on schema public to auth_owner;
  grant usage on schema public to auth_service;
  -- A database of PostgreSQL 14 or older keeps this right after an upgrade of the server.
  if has_schema_privilege('public', 'public', 'create') then
    revoke create on schema public from public;
  end if;

  -- The product has no large objects. Only a superuser can withdraw functions of PostgreSQL itself.
  if (select rolsuper from pg_roles where rolname = current_user) then
    for object in
      select oid::regprocedure as name from pg_proc
      where pronamespace = 'pg_catalog'::regnamespace and proname in ('lo_creat', 'lo_create', 'lo_from_bytea')
        and has_function_privilege('public', oid, 'execute')
    loop
      execute format('revoke execute on function %s from public', object.name);
    end loop;
  end if;

  if current_setting('auth.own_server', true) = 'on' then
    for object in
      select datname as name from pg_database
      where datname in ('postgres', 'template1') and has_database_privilege('public', oid, 'connect')
    loop
      execute format('revoke all on database %I from public', object.name);
    end loop;
  end if;

  for object in
    select format('schema %I', nspname) as name from pg_namespace
    where nspname = 'drizzle' and nspowner <> 'auth_owner'::regrole
    union all
    select format('table %I.%I', nspname, relname) from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where nspname in ('public', 'drizzle') and relkind in ('r', 'p', 'v', 'm', 'f') and relowner = current_user::regrole
  loop
    execute format('alter %s owner to auth_owner', object.name);
  end loop;
end
$$;
