-- +++
-- name = "attendance"
-- title = "Attendance"
-- board = "personnel"
-- scope = "department_id"
-- tree = "departments"
-- every = "1m"
-- timezone = "America/Lima"
-- sources = ["public.hr_department", "public.hr_employee", "public.hr_attendance"]
-- valid_until = "next_midnight"
--
-- [freshness]
-- soft = "90s"
-- hard = "5m"
-- debounce = "1s"
--
-- [rollup]
-- employees = "sum"
-- present = "sum"
-- present_share = "present / employees"
-- hours = "sum"
-- first_at = "min"
-- first_employee = "of first_at"
-- days = "sums"
--
-- [numbers]
-- hours = "text"
--
-- [zones]
-- first_at = "UTC"
-- +++
WITH instant AS (
    SELECT
        :now::timestamptz AT TIME ZONE 'UTC' AS now,
        :day_start::timestamptz AT TIME ZONE 'UTC' AS day_start
), attended AS (
    SELECT
        employee_id,
        check_in,
        least(coalesce(check_out, now), now) AS until,
        check_out IS NULL OR check_out > now AS open,
        (check_in AT TIME ZONE 'UTC' AT TIME ZONE :zone)::date AS day
    FROM hr_attendance, instant
    WHERE check_in <= now
), of_days AS (
    SELECT department_id, jsonb_object_agg(day, attendances) AS days
    FROM (
        SELECT department_id, day, count(*) AS attendances
        FROM attended JOIN hr_employee ON hr_employee.id = employee_id
        WHERE active GROUP BY department_id, day
    ) AS counted
    GROUP BY department_id
)
SELECT
    department_id,
    count(DISTINCT hr_employee.id) AS employees,
    count(DISTINCT hr_employee.id) FILTER (WHERE open) AS present,
    coalesce(
        sum(extract(epoch FROM until - greatest(check_in, day_start)) / 3600) FILTER (WHERE until > day_start), 0
    ) AS hours,
    min(check_in) FILTER (WHERE check_in >= day_start) AS first_at,
    (array_agg(hr_employee.id ORDER BY check_in, hr_employee.id) FILTER (WHERE check_in >= day_start))[1]
        AS first_employee,
    coalesce((SELECT days FROM of_days WHERE of_days.department_id = hr_employee.department_id), '{}') AS days
FROM instant CROSS JOIN hr_employee LEFT JOIN attended ON employee_id = hr_employee.id
WHERE active AND department_id IS NOT NULL
GROUP BY department_id
