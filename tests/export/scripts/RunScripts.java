import groovy.lang.Binding;
import groovy.lang.GroovyShell;
import ij.IJ;
import ij.ImagePlus;
import ij.Menus;
import ij.macro.Interpreter;
import java.io.File;
import java.io.InputStream;
import java.lang.reflect.Field;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Hashtable;
import java.util.Properties;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.codehaus.groovy.control.CompilationUnit;
import org.codehaus.groovy.control.Phases;

/**
 * Runs the scripts of a model card without windows, in the interpreters of Fiji and QuPath.
 *
 * <p>parse FILE: Groovy up to its syntax tree, without the classes that it names. macro FILE IMAGE: an ImageJ macro
 * on an image. script FILE INPUT OUTPUT MODEL: a Groovy script of Fiji with its three parameters.
 */
public class RunScripts {

    private static final Pattern COMMAND = Pattern.compile("\"([^\"]+)\",(.+)");

    public static void main(String[] arguments) throws Exception {
        System.setProperty("java.awt.headless", "true");
        String text = Files.readString(Path.of(arguments[1]));
        switch (arguments[0]) {
            case "parse":
                CompilationUnit unit = new CompilationUnit();
                unit.addSource("script.groovy", withoutParameters(text));
                unit.compile(Phases.CONVERSION);
                break;
            case "macro":
                fillMenus();
                ImagePlus image = IJ.openImage(arguments[2]);
                Interpreter interpreter = new Interpreter();
                interpreter.setIgnoreErrors(true);
                interpreter.runBatchMacro(text, image);
                if (interpreter.wasError()) {
                    throw new IllegalStateException(interpreter.getErrorMessage());
                }
                break;
            case "script":
                Binding parameters = new Binding();
                parameters.setVariable("input", new File(arguments[2]));
                parameters.setVariable("output", new File(arguments[3]));
                parameters.setVariable("model", arguments[4]);
                new GroovyShell(parameters).evaluate(withoutParameters(text));
                break;
            default:
                throw new IllegalArgumentException(arguments[0]);
        }
        System.exit(0);
    }

    /** Reads ImageJ's own list of commands, which it would read into its menus if there were a screen. */
    private static void fillMenus() throws Exception {
        Properties list = new Properties();
        try (InputStream file = IJ.class.getResourceAsStream("/IJ_Props.txt")) {
            list.load(file);
        }
        Hashtable<String, String> commands = new Hashtable<>();
        for (Object entry : list.values()) {
            Matcher command = COMMAND.matcher((String) entry);
            if (command.matches()) {
                commands.put(command.group(1), command.group(2));
            }
        }
        Field table = Menus.class.getDeclaredField("pluginsTable");
        table.setAccessible(true);
        table.set(null, commands);
    }

    /** Drops the lines by which SciJava asks for parameters, as it does itself. */
    private static String withoutParameters(String text) {
        return text.lines()
                .map(line -> line.startsWith("#@") ? "" : line)
                .collect(Collectors.joining("\n"));
    }
}
