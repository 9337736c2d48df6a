-- +goose Up

-- The names of an account's nodes were stored under a key that a node of the name "ames" has as well. They are an array, and a
-- node is an object.
UPDATE account_values SET key = 'list'
WHERE space = 'pep' AND key = 'names' AND substring(value FROM 1 FOR 1) = '\x5b' AND NOT EXISTS (
    SELECT 1 FROM account_values AS other
    WHERE other.host = account_values.host AND other.username = account_values.username AND other.space = 'pep' AND other.key = 'list');
