-- The schema `organisation`: a company as a tree of nodes, with its employees and their work.
--
-- Parameters: none. Returns: nothing. Run once, in a transaction, followed by references.sql.
-- Invariant: ids are the caller's (nothing is generated here), instants are timestamptz, and a row is open
-- exactly while its closed_at is null or in the future. The comment on the schema marks its origin: only a schema
-- with this comment is ever filled or dropped.
--
-- Allowed on purpose, because real data has it: check-ins before joining or after leaving, check-ins
-- on other nodes than the home, tasks without assignee, tasks due before they were recorded, blockers
-- without a person or a task, nodes without employees, sibling nodes of one name.

CREATE SCHEMA organisation;
COMMENT ON SCHEMA organisation IS 'Momentus Jobs reference organisation, version 1';

CREATE TABLE organisation.nodes (
    id          bigint PRIMARY KEY,
    parent_id   bigint,                       -- null: the root
    name        text NOT NULL,
    kind        text NOT NULL
);

CREATE TABLE organisation.employees (
    id          bigint PRIMARY KEY,
    node_id     bigint NOT NULL,              -- the home
    handle      text NOT NULL CONSTRAINT employees_handle_unique UNIQUE,
    role        text NOT NULL,                -- on the home node
    joined_at   timestamptz NOT NULL,
    left_at     timestamptz,                  -- null: still employed
    CONSTRAINT employees_leave_after_joining CHECK (left_at >= joined_at)
);

CREATE TABLE organisation.memberships (       -- seats on nodes other than the home
    employee_id bigint NOT NULL,
    node_id     bigint NOT NULL,
    role        text NOT NULL,
    PRIMARY KEY (employee_id, node_id)
);

CREATE TABLE organisation.tasks (
    id          bigint PRIMARY KEY,
    node_id     bigint NOT NULL,
    assignee_id bigint,
    created_at  timestamptz NOT NULL,
    due_at      timestamptz,
    status      text NOT NULL,
    closed_at   timestamptz,
    CONSTRAINT tasks_status_known CHECK (status IN ('open', 'in_progress', 'done', 'cancelled')),
    CONSTRAINT tasks_close_after_creation CHECK (closed_at >= created_at)
);

CREATE TABLE organisation.checkins (
    id          bigint PRIMARY KEY,
    employee_id bigint NOT NULL,
    node_id     bigint NOT NULL,
    at          timestamptz NOT NULL,
    kind        text NOT NULL
);

CREATE TABLE organisation.blockers (
    id          bigint PRIMARY KEY,
    node_id     bigint NOT NULL,
    employee_id bigint,                       -- who raised it
    task_id     bigint,
    opened_at   timestamptz NOT NULL,
    closed_at   timestamptz,
    kind        text NOT NULL,
    CONSTRAINT blockers_close_after_opening CHECK (closed_at >= opened_at)
);
