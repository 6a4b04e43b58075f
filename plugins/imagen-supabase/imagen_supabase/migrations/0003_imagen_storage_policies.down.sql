-- Nobody but the service role reads the bucket any more. It stays, since it may have pictures in it.

do $$
begin
    if to_regclass('storage.objects') is not null then
        drop policy if exists imagen_owner_reads on storage.objects;
    end if;
end
$$;
