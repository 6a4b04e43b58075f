-- Removes the sums, which hold nothing of their own.

drop view if exists mai.imagen_usage_daily;

notify pgrst, 'reload schema';
