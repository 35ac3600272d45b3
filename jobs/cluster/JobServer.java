import org.apache.beam.runners.flink.FlinkJobServerDriver;

/**
 * Beam's job server for a Flink that has the jars of Beam's runner in its lib/. By itself it sends every file of its class path along with each job (152 MB,
 * which job and task managers store, hash and load: more than half of the CPU seconds of a job of few pages); it finds those files by this property.
 *
 * java -cp 'job-server/*' JobServer.java --flink-master=... (a JDK compiles it as it starts)
 */
public class JobServer {
    public static void main(String[] arguments) throws Exception {
        System.setProperty("java.class.path", "");
        FlinkJobServerDriver.main(arguments);
    }
}
