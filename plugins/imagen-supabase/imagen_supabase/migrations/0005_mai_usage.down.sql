-- Removes the accounts if there is nothing in them. The schema mai stays: others may use it.

do $$
begin
    if to_regclass('mai.imagen_usage') is null then
        return;
    end if;
    if exists (select from mai.imagen_usage) then
        raise exception 'mai.imagen_usage has rows, and is not dropped'
            using hint = 'save them, empty the table, and try again';
    end if;
    drop table mai.imagen_usage;
end
$$;

notify pgrst, 'reload schema';
