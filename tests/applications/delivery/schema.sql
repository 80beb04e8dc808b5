-- Workspaces, projects, modules and work items, as a work manager of the kind of Plane keeps them: UUIDs for all keys,
-- instants with a zone, deleted_at and archived_at in place of DELETE.

CREATE SCHEMA plan;
CREATE TABLE plan.workspaces (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name varchar(80) NOT NULL,
    deleted_at timestamptz
);
CREATE TABLE plan.projects (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES plan.workspaces,
    name varchar(255),
    archived_at timestamptz,
    deleted_at timestamptz
);
CREATE TABLE plan.modules (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id uuid NOT NULL REFERENCES plan.projects,
    name varchar(255),
    target_date date,
    deleted_at timestamptz
);
CREATE TABLE plan.issues (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id uuid NOT NULL REFERENCES plan.projects,
    module_id uuid REFERENCES plan.modules,
    priority varchar(30) NOT NULL,
    estimate numeric(12, 2),
    target_date date,
    created_at timestamptz NOT NULL,
    completed_at timestamptz,
    deleted_at timestamptz
);
CREATE TABLE plan.assignees (
    issue_id uuid NOT NULL REFERENCES plan.issues,
    user_id uuid NOT NULL,
    deleted_at timestamptz
);
