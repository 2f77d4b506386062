\set n random(1, 2000)
SELECT r.id, r.name FROM repositories r WHERE r.path = (SELECT path FROM asked WHERE n = :n);
