-- The private bucket, and who may read what is in it: the owner of the picture's row.

do $$
begin
    if to_regclass('storage.buckets') is null or to_regclass('storage.objects') is null then
        raise exception 'this database has no schema storage with buckets and objects'
            using hint = 'start Supabase''s Storage on this database once, which makes them, and try again';
    end if;
    -- Storage does this itself; on a hosted project nobody else is allowed to.
    if not (select relrowsecurity from pg_class where oid = 'storage.objects'::regclass) then
        alter table storage.objects enable row level security;
    end if;
end
$$;

-- A bucket that is there keeps its limits, but not its doors open.
insert into storage.buckets (id, name, public, allowed_mime_types)
values ('imagen-generated', 'imagen-generated', false, '{image/png,image/jpeg,image/webp}')
on conflict (id) do update set public = false where buckets.public;

drop policy if exists imagen_owner_reads on storage.objects;
create policy imagen_owner_reads on storage.objects
    for select to authenticated
    using (
        bucket_id = 'imagen-generated'
        and exists (
            select from imagen.images
            where images.storage_path = objects.name
            and images.owner_user_id = (select auth.uid())
        )
    );
