DROP TABLE banned_ips;
DROP TABLE worker_leases;
