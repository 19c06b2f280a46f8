-- name: intern_requirements
INSERT INTO requirements (capabilities, tool, preferred_region)
SELECT array(SELECT json_array_elements_text(wanted.capabilities::json)), wanted.tool, wanted.preferred_region
FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (capabilities, tool, preferred_region)
ORDER BY wanted.capabilities, wanted.tool, wanted.preferred_region
ON CONFLICT DO NOTHING;

-- name: find_requirements
SELECT requirements.id
FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS wanted (capabilities, tool, preferred_region, place)
JOIN requirements
    ON requirements.capabilities = array(SELECT json_array_elements_text(wanted.capabilities::json))
    AND requirements.tool = wanted.tool
    AND requirements.preferred_region = wanted.preferred_region
ORDER BY wanted.place;

-- name: intern_lanes
INSERT INTO lanes (tenant_id, requirement_id, base)
SELECT wanted.tenant_id, wanted.requirement_id, wanted.base
FROM unnest($1::uuid[], $2::int[], $3::int[]) AS wanted (tenant_id, requirement_id, base)
ORDER BY wanted.tenant_id, wanted.requirement_id, wanted.base
ON CONFLICT DO NOTHING;

-- name: find_lanes
SELECT lanes.id
FROM unnest($1::uuid[], $2::int[], $3::int[]) WITH ORDINALITY AS wanted (tenant_id, requirement_id, base, place)
JOIN lanes
    ON lanes.tenant_id = wanted.tenant_id
    AND lanes.requirement_id = wanted.requirement_id
    AND lanes.base = wanted.base
ORDER BY wanted.place;
