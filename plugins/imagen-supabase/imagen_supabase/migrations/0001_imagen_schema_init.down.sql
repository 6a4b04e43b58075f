-- Removes the table of pictures if it is empty. The schema and its history of migrations stay.

do $$
begin
    if to_regclass('imagen.images') is null then
        return;
    end if;
    if exists (select from imagen.images) then
        raise exception 'imagen.images has rows, and is not dropped'
            using hint = 'save them, empty the table, and try again';
    end if;
    drop table imagen.images;
end
$$;

notify pgrst, 'reload schema';
