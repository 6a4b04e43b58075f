-- Takes back what 0002 granted.

revoke all on imagen.images, imagen.schema_migrations from authenticated, service_role;
revoke all on schema imagen from authenticated, service_role;

notify pgrst, 'reload schema';
