-- A path in the bucket is one picture, whoever owns rows for it.

-- Else the row of somebody whose object got lost would show what somebody else has put in its place.

create index if not exists images_path_idx on imagen.images (storage_path);

create or replace function imagen.images_one_picture_a_path() returns trigger
language plpgsql security invoker set search_path = '' as $$
begin
    if exists (
        select from imagen.images
        where images.storage_path = new.storage_path and images.sha256 <> new.sha256 and images.id <> new.id
    ) then
        raise exception 'another picture has this storage_path' using errcode = 'unique_violation';
    end if;
    return new;
end
$$;
revoke all on function imagen.images_one_picture_a_path() from public, anon, authenticated, service_role;

drop trigger if exists images_one_picture_a_path on imagen.images;
create trigger images_one_picture_a_path
    before insert or update of storage_path, sha256 on imagen.images
    for each row execute function imagen.images_one_picture_a_path();

notify pgrst, 'reload schema';
