# Completion of `python train.py ...` in fish, which argcomplete's own switch leaves to each project.
function __espalier_complete
    set -l words (commandline -opc)
    set -lx _ARGCOMPLETE 2
    set -lx _ARGCOMPLETE_IFS \n
    set -lx _ARGCOMPLETE_DFS \t
    set -lx _ARGCOMPLETE_SUPPRESS_SPACE 1
    set -lx _ARGCOMPLETE_SHELL fish
    set -lx COMP_LINE (commandline -p)
    set -lx COMP_POINT (string length -- (commandline -cp))
    $words[1..2] 8>&1 >/dev/null 2>&1 </dev/null
end

function __espalier_script
    set -l words (commandline -opc)
    test (count $words) -ge 2; and test -f $words[2]; and head -c 1024 $words[2] | string match -q '*PYTHON_ARGCOMPLETE_OK*'
end

for name in python python3
    complete -c $name -n __espalier_script -f -a '(__espalier_complete)'
end
