"""What can be done about a finding: edits of the notebook's text as data, from single statements to whole offers.

`fixes` builds the edits and `offers`, `relief` and `reproduce` the remedies that several rules share; `creation`,
`calls`, `statements` and `settings_code` find the place in the notebook where a change belongs.
"""
