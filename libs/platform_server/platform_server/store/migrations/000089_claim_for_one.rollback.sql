DROP FUNCTION claim_for_one;
DROP FUNCTION rows_of;
DROP FUNCTION turn_after;
DROP FUNCTION assign_if_queued;
