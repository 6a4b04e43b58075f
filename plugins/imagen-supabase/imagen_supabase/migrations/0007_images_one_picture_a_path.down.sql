-- Lets a path have several pictures again.

drop trigger if exists images_one_picture_a_path on imagen.images;
drop function if exists imagen.images_one_picture_a_path();
drop index if exists imagen.images_path_idx;

notify pgrst, 'reload schema';
