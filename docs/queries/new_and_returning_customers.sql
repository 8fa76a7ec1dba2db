-- How many customers wrote on each day of the shop, for the first time or again?
WITH days AS (
    SELECT DISTINCT
        c.customer_id,
        CAST(m.inserted_at AT TIME ZONE 'Asia/Ho_Chi_Minh' AS date) AS day
    FROM messages AS m
    JOIN conversations AS c ON c.id = m.conversation_id
    WHERE m.sender_id <> m.page_id
),
numbered AS (
    SELECT day, row_number() OVER (PARTITION BY customer_id ORDER BY day) AS visit
    FROM days
)
SELECT
    day,
    count(*) FILTER (WHERE visit = 1) AS new_customers,
    count(*) FILTER (WHERE visit > 1) AS returning_customers
FROM numbered
GROUP BY day
ORDER BY day;
