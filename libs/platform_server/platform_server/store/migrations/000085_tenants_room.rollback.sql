DROP FUNCTION tenants_room;
