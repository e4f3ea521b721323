# An option that is AUTO unless an environment variable of its name, or -D, says otherwise. pip passes the variables on
# (pyproject.toml).
function(lumigrad_option_from_environment name description)
  set(value AUTO)
  if(DEFINED ENV{${name}} AND NOT "$ENV{${name}}" STREQUAL "")
    set(value "$ENV{${name}}")
  endif()
  set(${name} "${value}" CACHE STRING "${description}")
endfunction()
