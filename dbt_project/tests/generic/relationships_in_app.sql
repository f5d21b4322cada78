{# The value is null or in `field` of a row of the same app: ids of users are an app's own. #}
{% test relationships_in_app(model, column_name, to, field) %}
    with child as (
        select app_id, {{ column_name }} as related
        from {{ model }}
        where {{ column_name }} is not null
    )

    select child.app_id, child.related
    from child
    left join {{ to }} as parent
        on child.app_id = parent.app_id and child.related = parent.{{ field }}
    where parent.{{ field }} is null
{% endtest %}
