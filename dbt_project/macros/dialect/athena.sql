{# The bodies of this folder's macros for Athena (engine version 3) and Trino. #}

{% macro athena__event_param(key, type) %}
    {{- "element_at(filter(event_params, p -> p.key = %s), 1).value.%s_value"
        % (string_list([key]), type) -}}
{% endmacro %}


{# Unnest spreads the fields of a row over columns; a row around each element keeps it whole. #}
{% macro athena__unnested(relation, column) %}
    (
        select r.*, t.item
        from {{ relation }} as r
        cross join unnest(transform(r.{{ column }}, element -> row(element))) as t(item)
    )
{%- endmacro %}


{#
  Trino casts to `1.0E20`. The digits of its JSON are the shortest that read back as the same
  number; below 1e-3 and from 1e7 on they come as `d.dddEn`, and are written here as DuckDB writes
  them: plain for exponents from -4 to 15, else `1.5e-07`.
  A number n is [1] its JSON, [2] sign, [3] digits without zeros at the end, [4] exponent, if any.
#}
{% macro athena__number_text(value) %}
    element_at(transform(transform(
        array[json_format(cast({{ value }} as json))],
        t -> row(
            t,
            if(starts_with(t, '-'), '-', ''),
            rtrim(replace(ltrim(split_part(t, 'E', 1), '-'), '.', ''), '0'),
            try_cast(split_part(t, 'E', 2) as integer)
        )
    ), n -> case
        when n[4] is null then n[1]
        when n[4] = -4 then n[2] || '0.000' || n[3]
        when n[4] between 0 and 15
            then n[2] || substr(rpad(n[3], 17, '0'), 1, n[4] + 1) || '.'
                || coalesce(nullif(substr(n[3], n[4] + 2), ''), '0')
        else n[2] || substr(n[3], 1, 1)
            || if(length(n[3]) > 1, '.' || substr(n[3], 2), '')
            || if(n[4] < 0, 'e-', 'e+')
            || if(abs(n[4]) < 10, '0', '') || cast(abs(n[4]) as varchar)
    end), 1)
{%- endmacro %}


{% macro athena__ms_to_timestamp(ms) %}
    {{- "cast(from_unixtime((%s) / 1e3, 'UTC') as timestamp)" % ms -}}
{% endmacro %}


{% macro athena__now_in_utc() %}
    {{- "cast(current_timestamp at time zone 'UTC' as timestamp)" -}}
{% endmacro %}


{% macro athena__local_time(timestamp, zone) %}
    {{- "cast(with_timezone(%s, 'UTC') at time zone %s as timestamp)"
        % (timestamp, string_list([zone])) -}}
{% endmacro %}


{# In two equalities, which Trino joins by hash; `is not distinct from` it tries on every pair. #}
{% macro athena__same(left, right) %}
    (
        coalesce(cast({{ left }} as varchar), '') = coalesce(cast({{ right }} as varchar), '')
        and ({{ left }} is null) = ({{ right }} is null)
    )
{%- endmacro %}


{#
  The hidden column "$path" tells the data file that holds a row. Events without session id get the
  key of their session from the ledger; an id may come back with another user when a batch is
  processed again.
#}
{% macro athena__lake_events(changes) %}
    (
        select l.*, l."$path" as lake_file, s.session_key as kept_session_key
        from {{ source("lake", "ods_event") }} as l
        left join {{ ledger("session") }} as s
            on
                l.app_id = s.app_id
                and l.event_date = s.event_date
                and l.event_id = s.event_id
                and l.user_pseudo_id = s.user_pseudo_id
                and {{ same("l.platform", "s.platform") }}
    )
{%- endmacro %}


{% macro athena__partitioned_by() %}
    {{- config(partitioned_by=varargs | list) -}}
{% endmacro %}
