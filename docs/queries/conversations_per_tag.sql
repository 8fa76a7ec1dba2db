-- How many conversations carry each tag? Tags that nobody uses are shown with 0.
SELECT t.page_id, t.id AS tag_id, t.text, count(l.conversation_id) AS conversations
FROM tags AS t
LEFT JOIN conversation_tags AS l ON l.page_id = t.page_id AND l.tag_id = t.id
WHERE t.is_listed
GROUP BY t.page_id, t.id, t.text
ORDER BY conversations DESC, t.id;
