-- +goose Up

-- What the user may do for others: "user", nothing, or "admin".
ALTER TABLE accounts ADD COLUMN role TEXT NOT NULL DEFAULT 'user';
