-- How many conversations is each member of staff assigned to now, and how many of them wait for an answer?
WITH newest AS (
    SELECT
        conversation_id,
        sender_id <> page_id AS waits,
        row_number() OVER (PARTITION BY conversation_id ORDER BY inserted_at DESC, id DESC) AS place
    FROM messages
)
SELECT u.name, count(*) AS assigned, count(*) FILTER (WHERE n.waits) AS waiting
FROM conversation_assignees AS a
JOIN users AS u ON u.page_id = a.page_id AND u.id = a.user_id
LEFT JOIN newest AS n ON n.conversation_id = a.conversation_id AND n.place = 1
GROUP BY u.id, u.name
ORDER BY assigned DESC, u.name;
