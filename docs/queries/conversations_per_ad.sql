-- How many conversations did each ad bring, and in how many did the customer write at all?
SELECT
    a.ad_id,
    count(*) AS conversations,
    count(*) FILTER (
        WHERE EXISTS (
            SELECT 1 FROM messages AS m
            WHERE m.conversation_id = a.conversation_id AND m.sender_id <> m.page_id
        )
    ) AS with_an_answer
FROM conversation_ads AS a
GROUP BY a.ad_id
ORDER BY conversations DESC, a.ad_id;
