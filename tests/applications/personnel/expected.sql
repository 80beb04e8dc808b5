-- What the documents of both reports must say, node by node: each subtree is walked, as the application would.
--
-- Parameters: $1 the instant. Returns id, parent, names, and per report the subtree's and the node's own measures.

WITH RECURSIVE instant AS (
    SELECT $1::timestamptz AS now, date_trunc('day', $1::timestamptz AT TIME ZONE 'America/Lima') AS today
), climb (id, at, above) AS (
    SELECT id, parent_id, parent_id FROM hr_department WHERE active
    UNION ALL
    SELECT climb.id, dead.parent_id, dead.parent_id
    FROM climb JOIN hr_department AS dead ON dead.id = climb.at AND dead.active IS NOT TRUE
), living AS (
    SELECT id, (
        SELECT climb.above FROM climb JOIN hr_department AS there ON there.id = climb.above AND there.active
        WHERE climb.id = hr_department.id
    ) AS parent FROM hr_department WHERE active
), under (id, member) AS (
    SELECT id, id FROM living
    UNION ALL
    SELECT under.id, living.id FROM under JOIN living ON living.parent = under.member
), part (id, own, member) AS (
    SELECT id, false, member FROM under
    UNION ALL
    SELECT id, true, id FROM living
), attendance AS (
    SELECT part.id, own, employee.id AS employee, employee.department_id, attended.id AS attended,
        check_in AT TIME ZONE 'UTC' AS began, least(coalesce(check_out AT TIME ZONE 'UTC', now), now) AS ended,
        check_out IS NULL OR check_out AT TIME ZONE 'UTC' > now AS open,
        today AT TIME ZONE 'America/Lima' AS day_start,
        (check_in AT TIME ZONE 'UTC' AT TIME ZONE 'America/Lima')::date AS day
    FROM instant CROSS JOIN part
    JOIN hr_employee AS employee ON employee.department_id = member AND employee.active
    LEFT JOIN hr_attendance AS attended
        ON attended.employee_id = employee.id AND attended.check_in AT TIME ZONE 'UTC' <= now
), attendance_of AS (
    SELECT id, own, jsonb_build_object(
        'employees', count(DISTINCT employee),
        'present', count(DISTINCT employee) FILTER (WHERE attended IS NOT NULL AND open),
        'hours', coalesce(
            sum(extract(epoch FROM ended - greatest(began, day_start)) / 3600)
                FILTER (WHERE attended IS NOT NULL AND ended > day_start),
            0
        )::text,
        'first_at', min(began) FILTER (WHERE began >= day_start),
        'first_employee',
        (array_agg(employee ORDER BY began, employee) FILTER (WHERE began >= day_start))[1],
        'days', coalesce((
            SELECT jsonb_object_agg(day, n) FROM (
                SELECT day, count(*) AS n FROM attendance AS again
                WHERE again.id = attendance.id AND again.own = attendance.own AND again.day IS NOT NULL GROUP BY day
            ) AS counted
        ), '{}')
    ) AS said FROM attendance GROUP BY id, own
), expense AS (
    SELECT part.id, own, employee.id AS employee, hr_expense.id AS expense, state, hr_expense.date,
        hr_expense.name, coalesce(total_amount, 0) AS amount
    FROM part
    JOIN hr_employee AS employee ON employee.department_id = member AND employee.active
    JOIN hr_expense ON hr_expense.employee_id = employee.id AND state <> 'refused'
), expense_of AS (
    SELECT id, own, jsonb_build_object(
        'total', sum(amount)::text,
        'by_state', (
            SELECT jsonb_object_agg(state, amount) FROM (
                SELECT state, sum(again.amount) AS amount FROM expense AS again
                WHERE again.id = expense.id AND again.own = expense.own GROUP BY state
            ) AS summed
        ),
        'largest', max(amount),
        'people', count(DISTINCT employee),
        'latest', (array_agg(
            jsonb_build_object('id', expense, 'date', date, 'name', name, 'amount', amount)
            ORDER BY date DESC, expense DESC
        ))[1:3],
        'median', percentile_disc(0.5) WITHIN GROUP (ORDER BY amount)
    ) AS said FROM expense GROUP BY id, own
)
SELECT
    living.id::text AS id,
    living.parent::text AS parent,
    coalesce(name ->> 'es', name ->> 'es_PE', name ->> 'en_US') AS name,
    jsonb_build_object(
        'attendance', jsonb_build_object('total', a.said, 'own', b.said),
        'expenses', jsonb_build_object('total', c.said, 'own', d.said - 'median')
    ) AS reports
FROM living
JOIN hr_department USING (id)
LEFT JOIN attendance_of AS a ON a.id = living.id AND NOT a.own
LEFT JOIN attendance_of AS b ON b.id = living.id AND b.own
LEFT JOIN expense_of AS c ON c.id = living.id AND NOT c.own
LEFT JOIN expense_of AS d ON d.id = living.id AND d.own
ORDER BY living.id
