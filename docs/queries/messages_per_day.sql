-- How many messages a day of the shop, by who sent them: customer, staff, or a machine of the page?
SELECT
    CAST(inserted_at AT TIME ZONE 'Asia/Ho_Chi_Minh' AS date) AS day,
    CASE
        WHEN sender_id <> page_id THEN 'customer'
        WHEN (sender ->> 'uid') IS NOT NULL THEN 'staff'
        ELSE 'automatic'
    END AS sender_kind,
    count(*) AS messages
FROM messages
GROUP BY 1, 2
ORDER BY 1, 2;
