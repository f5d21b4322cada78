select
    e.event_id,
    e.event_name,
    e.event_date,
    p.key as event_parameter_key,
    coalesce(
        p.value.string_value,
        cast(p.value.int_value as varchar),
        cast(p.value.float_value as varchar),
        cast(p.value.double_value as varchar)
    ) as event_parameter_value
from ods_events as e, unnest(e.event_params) as t(p)
