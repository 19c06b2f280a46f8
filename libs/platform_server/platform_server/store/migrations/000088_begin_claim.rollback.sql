DROP FUNCTION begin_claim;
DROP FUNCTION fold_corrections;
