-- +++
-- name = "expenses"
-- title = "Expenses"
-- board = "personnel"
-- scope = "department_id"
-- tree = "departments"
-- every = "1m"
-- timezone = "America/Lima"
-- sources = ["public.hr_department", "public.hr_employee", "public.hr_expense"]
--
-- [freshness]
-- soft = "90s"
-- hard = "5m"
-- debounce = "1s"
--
-- [rollup]
-- total = "sum"
-- by_state = "sums"
-- largest = "max"
-- people = "distinct"
-- per_person = "total / people"
-- latest = "top 3 by date, id desc"
-- median = "sql"
--
-- [numbers]
-- total = "text"
-- +++
WITH expense AS (
    SELECT department_id, hr_expense.*, coalesce(total_amount, 0) AS amount
    FROM hr_expense JOIN hr_employee ON hr_employee.id = employee_id
    WHERE active AND state <> 'refused'
), of_states AS (
    SELECT department_id, jsonb_object_agg(state, amount) AS by_state
    FROM (SELECT department_id, state, sum(amount) AS amount FROM expense GROUP BY department_id, state) AS summed
    GROUP BY department_id
), direct AS (
    SELECT
        department_id,
        sum(amount) AS total,
        max(amount) AS largest,
        array_agg(DISTINCT employee_id) AS people,
        jsonb_agg(jsonb_build_object('id', id, 'date', date, 'name', name, 'amount', amount)) AS latest
    FROM expense GROUP BY department_id
), below AS (
    SELECT above.id AS department_id, percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) AS median
    FROM hr_department AS above
    JOIN hr_department AS one ON one.parent_path LIKE above.parent_path || '%' AND one.active
    JOIN expense ON expense.department_id = one.id
    GROUP BY above.id
)
SELECT
    id AS department_id,
    coalesce(total, 0) AS total,
    coalesce(by_state, '{}') AS by_state,
    largest,
    coalesce(people, '{}') AS people,
    coalesce(latest, '[]') AS latest,
    median
FROM hr_department
LEFT JOIN direct ON direct.department_id = id
LEFT JOIN of_states ON of_states.department_id = id
LEFT JOIN below ON below.department_id = id
