{{ config(meta={
    "follows": "clickstream_event_base",
    "reopens": ["app_id", "user_pseudo_id", "event_date"],
    "dated": "event_date",
    "form": 3,
}) }}
{{ partitioned_by("app_id", "month(event_date)") }}

{%- set loads = loads_to_take_in() %}
{%- set set_at -%}
    coalesce(
        {{ nested("e.item.value.set_timestamp_micros", "int") }}, e.event_timestamp * 1000
    )
{%- endset %}

with events as (
    select e.*
    from {{ ref("clickstream_event_base") }} as e
    {{ reopened(loads, "e") }}
),

attributes as (
    select
        app_id,
        user_pseudo_id,
        event_date,
        {{ nested("e.item.key", "string") }} as attr_key,
        {{ value_text("e.item.value") }} as attr_value,
        {{ known_at(set_at, "e.ingest_timestamp * 1000") }} as set_timestamp_micros,
        event_timestamp,
        event_id
    from {{ unnested("events", "user_properties") }} as e
    where user_pseudo_id is not null and {{ nested("e.item.key", "string") }} is not null
)

select
    app_id,
    user_pseudo_id,
    event_date,
    attr_key,
    attr_value,
    set_timestamp_micros,
    event_timestamp,
    event_id,
    cast({{ loads.upto }} as bigint) as load_id
from {{ last_rows(
    "attributes",
    ["app_id", "user_pseudo_id", "event_date", "attr_key"],
    ["attr_value", "set_timestamp_micros", "event_timestamp", "event_id"],
    ["set_timestamp_micros", "event_timestamp", "event_id", "coalesce(attr_value, '')"],
) }} as last_set
