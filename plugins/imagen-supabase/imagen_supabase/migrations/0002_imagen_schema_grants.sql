-- Who may do what in the schema of imagen. Row-level security narrows it further for signed-in users.

revoke all on schema imagen from public, anon, authenticated, service_role;
grant usage on schema imagen to authenticated, service_role;

revoke all on all tables in schema imagen from public, anon;
revoke all on imagen.images, imagen.schema_migrations from authenticated, service_role;
grant select, insert, update, delete on imagen.images to service_role;
grant select on imagen.images to authenticated;
grant update (tags) on imagen.images to authenticated;
grant select on imagen.schema_migrations to service_role;

-- Everybody may execute a new function until that is taken back: a migration that adds one does so itself.
revoke all on all functions in schema imagen from public, anon;

notify pgrst, 'reload schema';
