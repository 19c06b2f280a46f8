-- The lanes that exist of those wanted, in the order asked for.
-- name: find
SELECT lanes.id
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int[])
    WITH ORDINALITY AS wanted (tenant_id, capabilities, tool, preferred_region, base, place)
JOIN requirements
    ON requirements.capabilities = array(SELECT json_array_elements_text(wanted.capabilities::json))
    AND requirements.tool = wanted.tool
    AND requirements.preferred_region = wanted.preferred_region
JOIN lanes
    ON lanes.tenant_id = wanted.tenant_id AND lanes.requirement_id = requirements.id AND lanes.base = wanted.base
ORDER BY wanted.place;

-- name: intern_requirements
INSERT INTO requirements (capabilities, tool, preferred_region)
SELECT array(SELECT json_array_elements_text(wanted.capabilities::json)), wanted.tool, wanted.preferred_region
FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (capabilities, tool, preferred_region)
ORDER BY wanted.capabilities, wanted.tool, wanted.preferred_region
ON CONFLICT DO NOTHING;

-- name: intern_lanes
INSERT INTO lanes (tenant_id, requirement_id, base)
SELECT wanted.tenant_id, requirements.id, wanted.base
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int[])
    AS wanted (tenant_id, capabilities, tool, preferred_region, base)
JOIN requirements
    ON requirements.capabilities = array(SELECT json_array_elements_text(wanted.capabilities::json))
    AND requirements.tool = wanted.tool
    AND requirements.preferred_region = wanted.preferred_region
ORDER BY wanted.tenant_id, requirements.id, wanted.base
ON CONFLICT DO NOTHING;
