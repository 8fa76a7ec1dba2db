-- How long does a customer wait for the first answer by staff? Conversations by day of the shop, and the median.
-- Automatic messages (ad clicks, bots) have no `uid` in `sender` and do not count.
WITH asked AS (
    SELECT conversation_id, min(inserted_at) AS asked_at
    FROM messages
    WHERE sender_id <> page_id
    GROUP BY conversation_id
),
answered AS (
    SELECT m.conversation_id, a.asked_at, min(m.inserted_at) AS answered_at
    FROM messages AS m
    JOIN asked AS a ON a.conversation_id = m.conversation_id
    WHERE (m.sender ->> 'uid') IS NOT NULL AND m.inserted_at > a.asked_at
    GROUP BY m.conversation_id, a.asked_at
)
SELECT
    CAST(asked_at AT TIME ZONE 'Asia/Ho_Chi_Minh' AS date) AS day,
    count(*) AS conversations,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM answered_at - asked_at)) AS median_s
FROM answered
GROUP BY 1
ORDER BY 1;
