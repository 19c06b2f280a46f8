-- Jobs that are over leave `commands`, whole, a minute after their end (store/archive.sql). What waits and runs stays in memory
-- with its indexes, and a vacuum of it takes seconds, however many jobs there ever were.
--
-- One table, not partitions by day: a read by id would look into each of thirty, and plan for as many, to make cheaper what
-- retention does once. No foreign keys: a move would lock the row of every tenant, and no job comes in here but from
-- `commands`, which has them. Nor are its checks made again: one of them would unpack every payload.
CREATE TABLE finished_commands (
    LIKE commands INCLUDING DEFAULTS,
    PRIMARY KEY (id),
    CONSTRAINT finished_commands_over
        CHECK (status IN ('completed', 'failed', 'cancelled', 'expired') AND completed_at IS NOT NULL AND NOT slot_held)
);
CREATE INDEX finished_commands_tenant ON finished_commands (tenant_id, id DESC);
CREATE INDEX finished_commands_age ON finished_commands (completed_at);
-- Most jobs are completed: who looks for the others among a million finds them here.
CREATE INDEX finished_commands_uncompleted ON finished_commands (tenant_id, status, id DESC) WHERE status <> 'completed';

-- Every job. A move is one statement, so whoever reads here finds each job once.
CREATE VIEW jobs AS SELECT * FROM commands UNION ALL SELECT * FROM finished_commands;

-- A job's row is written five times within seconds. With half of a page free the new versions stay on it: a report of progress
-- enters no index, dead versions are pruned by whoever comes by, and a job costs a seventh less of the write-ahead log. The end
-- of the table is not cut off: it would be needed again a moment later, and cutting locks everybody out.
ALTER TABLE commands SET (fillfactor = 50, vacuum_truncate = false, toast.vacuum_truncate = false);
-- Here rows only come, and go once, thirty days later. They are frozen in small portions, and what retention leaves is used
-- again before it is a fifth of the table.
ALTER TABLE finished_commands SET (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05,
    toast.autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_insert_scale_factor = 0.05
);
