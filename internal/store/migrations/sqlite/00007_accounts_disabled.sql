-- +goose Up

-- 1: the user may not sign in.
ALTER TABLE accounts ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;
