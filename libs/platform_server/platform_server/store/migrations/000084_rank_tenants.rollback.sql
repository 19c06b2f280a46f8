DROP FUNCTION rank_tenants;
