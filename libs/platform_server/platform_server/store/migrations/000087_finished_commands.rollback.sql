ALTER TABLE commands RESET (fillfactor, vacuum_truncate, toast.vacuum_truncate);
DROP VIEW jobs;
INSERT INTO commands SELECT * FROM finished_commands;
DROP TABLE finished_commands;
