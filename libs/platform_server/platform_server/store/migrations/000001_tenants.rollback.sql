DROP TABLE admin_audit;
DROP TABLE users;
DROP TABLE tenants;
DROP TABLE plans;
