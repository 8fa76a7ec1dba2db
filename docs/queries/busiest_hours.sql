-- At which hours of the shop's day do customers write?
SELECT
    CAST(extract(hour FROM inserted_at AT TIME ZONE 'Asia/Ho_Chi_Minh') AS integer) AS hour,
    count(*) AS messages,
    count(DISTINCT conversation_id) AS conversations
FROM messages
WHERE sender_id <> page_id
GROUP BY 1
ORDER BY 1;
