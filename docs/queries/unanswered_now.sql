-- Which inbox threads wait for an answer, the longest wait first?
WITH turns AS (
    SELECT
        conversation_id,
        max(inserted_at) FILTER (WHERE sender_id = page_id) AS page_wrote_at,
        max(inserted_at) FILTER (WHERE sender_id <> page_id) AS customer_wrote_at
    FROM messages
    GROUP BY conversation_id
)
SELECT c.id AS conversation_id, t.customer_wrote_at
FROM conversations AS c
JOIN turns AS t ON t.conversation_id = c.id
WHERE c.type = 'INBOX' AND (t.page_wrote_at IS NULL OR t.customer_wrote_at > t.page_wrote_at)
ORDER BY t.customer_wrote_at, c.id;
