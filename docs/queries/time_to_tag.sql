-- How long after a conversation began was each tag first put on it? The median, in hours.
WITH first_added AS (
    SELECT page_id, conversation_id, tag_id, min(inserted_at) AS added_at
    FROM tag_events
    WHERE action = 'add' AND tag_id IS NOT NULL
    GROUP BY page_id, conversation_id, tag_id
)
SELECT
    t.text,
    count(*) AS conversations,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM f.added_at - c.inserted_at)) / 3600
        AS median_hours
FROM first_added AS f
JOIN conversations AS c ON c.id = f.conversation_id
JOIN tags AS t ON t.page_id = f.page_id AND t.id = f.tag_id
GROUP BY t.page_id, t.id, t.text
ORDER BY t.text;
