-- Departments, employees, attendances and expenses, as an ERP of the kind of Odoo (from 17 on) keeps them:
-- names by language in jsonb, instants in UTC without a zone, archived rows (active = false) beside living ones, and
-- the ids from the root in parent_path.

CREATE TABLE hr_department (
    id serial PRIMARY KEY,
    name jsonb NOT NULL,
    parent_id integer REFERENCES hr_department,
    parent_path varchar,
    active boolean,
    company_id integer,
    create_date timestamp
);
CREATE TABLE hr_employee (
    id serial PRIMARY KEY,
    name varchar NOT NULL,
    department_id integer REFERENCES hr_department,
    active boolean,
    create_date timestamp
);
CREATE TABLE hr_attendance (
    id serial PRIMARY KEY,
    employee_id integer NOT NULL REFERENCES hr_employee,
    check_in timestamp NOT NULL,
    check_out timestamp
);
CREATE TABLE hr_expense (
    id serial PRIMARY KEY,
    employee_id integer NOT NULL REFERENCES hr_employee,
    name varchar NOT NULL,
    state varchar NOT NULL,
    date date NOT NULL,
    total_amount numeric
);
